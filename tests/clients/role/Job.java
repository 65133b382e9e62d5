// A job with the role of its instance: Alibaba Cloud's SDK for Java. Java 8 takes it too, once it is compiled.

import com.aliyuncs.CommonRequest;
import com.aliyuncs.DefaultAcsClient;
import com.aliyuncs.auth.InstanceProfileCredentialsProvider;
import com.aliyuncs.http.MethodType;
import com.aliyuncs.http.ProtocolType;
import com.aliyuncs.profile.DefaultProfile;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.InputStream;
import java.net.URL;
import java.time.Instant;
import java.util.Scanner;

public class Job {
    static final String ROLES = "http://100.100.100.200/latest/meta-data/ram/security-credentials/";

    static String get(String url) throws Exception {
        try (InputStream body = new URL(url).openStream(); Scanner text = new Scanner(body, "UTF-8")) {
            return text.useDelimiter("\\A").next();
        }
    }

    // The credentials as the metadata service tells them now.
    static JsonObject told(String role) throws Exception {
        return JsonParser.parseString(get(ROLES + role)).getAsJsonObject();
    }

    static void call(DefaultAcsClient client, String domain, String version, String action, String zone) throws Exception {
        CommonRequest request = new CommonRequest();
        request.setSysProtocol(ProtocolType.HTTPS);
        request.setSysMethod(MethodType.POST);
        request.setSysDomain(domain);
        request.setSysVersion(version);
        request.setSysAction(action);
        if (zone != null) {
            request.putQueryParameter("ZoneName", zone);
        }
        client.getCommonResponse(request);
    }

    public static void main(String[] words) throws Exception {
        String role = get(ROLES);
        JsonObject first = told(role);
        String key = first.get("AccessKeyId").getAsString();
        Instant end = Instant.parse(first.get("Expiration").getAsString());
        DefaultAcsClient client = new DefaultAcsClient(
            DefaultProfile.getProfile("cn-hangzhou"), new InstanceProfileCredentialsProvider(role));
        for (int number = 1; number <= 2; number++) {
            while (number == 2
                && (!Instant.now().isAfter(end) || told(role).get("AccessKeyId").getAsString().equals(key))) {
                Thread.sleep(100);
            }
            call(client, "ecs.cn-hangzhou.aliyuncs.com", "2014-05-26", "DescribeRegions", null);
            call(client, "pvtz.aliyuncs.com", "2018-01-01", "AddZone", "java-" + number + ".example");
        }
        System.out.println(key + " " + told(role).get("AccessKeyId").getAsString());
    }
}
