// Calls PrivateZone and ECS with both generations of the Go SDK, by name, with the key of the environment.
package main

import (
	"fmt"
	"os"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func first(region, key, secret string) {
	zones, err := pvtz.NewClientWithAccessKey(region, key, secret)
	check(err)
	add := pvtz.CreateAddZoneRequest()
	add.Scheme, add.Domain, add.ZoneName = "https", "pvtz.aliyuncs.com", "first.example"
	added, err := zones.AddZone(add)
	check(err)
	list := pvtz.CreateDescribeZonesRequest()
	list.Scheme, list.Domain, list.PageSize = "https", "pvtz.aliyuncs.com", requests.NewInteger(10)
	listed, err := zones.DescribeZones(list)
	check(err)
	machines, err := ecs.NewClientWithAccessKey(region, key, secret)
	check(err)
	regions := ecs.CreateDescribeRegionsRequest()
	regions.Scheme, regions.Domain = "https", "ecs."+region+".aliyuncs.com"
	described, err := machines.DescribeRegions(regions)
	check(err)
	fmt.Println("first", added.ZoneId != "", listed.TotalItems, len(described.Regions.Region) > 20)
}

func call(key, secret, endpoint, action, version string, query map[string]*string) map[string]interface{} {
	client, err := openapi.NewClient(&openapi.Config{
		AccessKeyId: &key, AccessKeySecret: &secret, Endpoint: &endpoint, Protocol: tea.String("HTTPS"),
	})
	check(err)
	params := &openapi.Params{
		Action: &action, Version: &version, Protocol: tea.String("HTTPS"), Pathname: tea.String("/"),
		Method: tea.String("POST"), AuthType: tea.String("AK"), Style: tea.String("RPC"),
		ReqBodyType: tea.String("formData"), BodyType: tea.String("json"),
	}
	answer, err := client.CallApi(params, &openapi.OpenApiRequest{Query: query}, &util.RuntimeOptions{})
	check(err)
	return answer["body"].(map[string]interface{})
}

func second(region, key, secret string) {
	zone := call(key, secret, "pvtz.aliyuncs.com", "AddZone", "2018-01-01",
		map[string]*string{"ZoneName": tea.String("second.example")})
	regions := call(key, secret, "ecs."+region+".aliyuncs.com", "DescribeRegions", "2014-05-26", nil)
	vpc := call(key, secret, "vpc."+region+".aliyuncs.com", "CreateVpc", "2016-04-28",
		map[string]*string{"RegionId": &region, "CidrBlock": tea.String("10.8.0.0/16")})
	_, described := regions["Regions"]
	fmt.Println("second", zone["ZoneId"] != nil, described, vpc["VpcId"] != nil)
}

func main() {
	region := os.Getenv("ALIBABA_CLOUD_REGION_ID")
	key, secret := os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
	first(region, key, secret)
	second(region, key, secret)
}
