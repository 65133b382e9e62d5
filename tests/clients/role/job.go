// A job with the role of its instance: Alibaba Cloud's SDK for Go.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"
)

const roles = "http://100.100.100.200/latest/meta-data/ram/security-credentials/"

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func get(url string) []byte {
	answer, err := http.Get(url)
	must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(err)
	return body
}

// The credentials as the metadata service tells them now.
type said struct {
	AccessKeyId string
	Expiration  time.Time
}

func told(role string) (now said) {
	must(json.Unmarshal(get(roles+role), &now))
	return now
}

func main() {
	role := string(get(roles))
	first := told(role)
	regions, err := ecs.NewClientWithEcsRamRole("cn-hangzhou", role)
	must(err)
	zones, err := pvtz.NewClientWithEcsRamRole("cn-hangzhou", role)
	must(err)
	work := func(number int) {
		list := ecs.CreateDescribeRegionsRequest()
		list.Scheme = "https"
		_, err := regions.DescribeRegions(list)
		must(err)
		add := pvtz.CreateAddZoneRequest()
		add.Scheme, add.Domain = "https", "pvtz.aliyuncs.com"
		add.ZoneName = fmt.Sprintf("go-%d.example", number)
		_, err = zones.AddZone(add)
		must(err)
	}
	work(1)
	for !time.Now().After(first.Expiration) || told(role).AccessKeyId == first.AccessKeyId {
		time.Sleep(100 * time.Millisecond)
	}
	work(2)
	fmt.Println(first.AccessKeyId, told(role).AccessKeyId)
}
