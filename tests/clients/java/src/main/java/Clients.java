import com.aliyun.teaopenapi.models.Config;
import com.aliyun.teaopenapi.models.OpenApiRequest;
import com.aliyun.teaopenapi.models.Params;
import com.aliyun.teautil.models.RuntimeOptions;
import com.aliyuncs.CommonRequest;
import com.aliyuncs.DefaultAcsClient;
import com.aliyuncs.http.MethodType;
import com.aliyuncs.http.ProtocolType;
import com.aliyuncs.profile.DefaultProfile;
import java.util.Map;

/** Calls PrivateZone and ECS with both generations of the Java SDK, by name, over HTTP and HTTPS. */
public class Clients {
    static final String REGION = System.getenv("ALIBABA_CLOUD_REGION_ID");
    static final String KEY = System.getenv("ALIBABA_CLOUD_ACCESS_KEY_ID");
    static final String SECRET = System.getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET");

    static String first(ProtocolType protocol, String host, String version, String action, String zone) throws Exception {
        DefaultAcsClient client = new DefaultAcsClient(DefaultProfile.getProfile(REGION, KEY, SECRET));
        CommonRequest request = new CommonRequest();
        request.setSysMethod(MethodType.POST);
        request.setSysProtocol(protocol);
        request.setSysDomain(host);
        request.setSysVersion(version);
        request.setSysAction(action);
        if (zone != null) {
            request.putQueryParameter("ZoneName", zone);
        }
        return client.getCommonResponse(request).getData();
    }

    static Map<String, ?> second(String protocol, String host, String version, String action, String zone) throws Exception {
        Config config = new Config().setAccessKeyId(KEY).setAccessKeySecret(SECRET).setEndpoint(host).setProtocol(protocol);
        Params params = new Params().setAction(action).setVersion(version).setProtocol(protocol).setPathname("/")
            .setMethod("POST").setAuthType("AK").setStyle("RPC").setReqBodyType("formData").setBodyType("json");
        OpenApiRequest request = new OpenApiRequest();
        if (zone != null) {
            request.setQuery(Map.of("ZoneName", zone));
        }
        return (Map<String, ?>) new com.aliyun.teaopenapi.Client(config).callApi(params, request, new RuntimeOptions()).get("body");
    }

    public static void main(String[] words) throws Exception {
        String ecs = "ecs." + REGION + ".aliyuncs.com";
        for (ProtocolType protocol : new ProtocolType[] {ProtocolType.HTTP, ProtocolType.HTTPS}) {
            boolean regions = first(protocol, ecs, "2014-05-26", "DescribeRegions", null).contains(REGION);
            boolean zone = first(protocol, "pvtz.aliyuncs.com", "2018-01-01", "AddZone", "first-" + protocol + ".example")
                .contains("ZoneId");
            System.out.println("first " + protocol + " " + regions + " " + zone);
        }
        for (String protocol : new String[] {"HTTP", "HTTPS"}) {
            boolean regions = second(protocol, ecs, "2014-05-26", "DescribeRegions", null).containsKey("Regions");
            boolean zone = second(protocol, "pvtz.aliyuncs.com", "2018-01-01", "AddZone", "second-" + protocol + ".example")
                .containsKey("ZoneId");
            System.out.println("second " + protocol + " " + regions + " " + zone);
        }
    }
}
