// The loop of external-dns: its provider for Alibaba Cloud, its plan and its TXT registry, in the zone example.internal.
// With a number as its argument, so many endpoints in one round. Credentials are those of the instance's role.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider/alibabacloud"
	"sigs.k8s.io/external-dns/registry"
	"sigs.k8s.io/external-dns/registry/txt"
)

const zone = "example.internal"

// Not 60: the provider takes the default for no TTL at all, and plans a change each round.
const ttl = 120

var types = []string{"A", "AAAA", "CNAME"}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(zoneType string) registry.Registry {
	filter := endpoint.NewDomainFilter([]string{zone})
	config := &externaldns.Config{
		AlibabaCloudZoneType: zoneType, TXTOwnerID: "lab", TXTPrefix: "txt-%{record_type}.", TXTWildcardReplacement: "any",
		ManagedDNSRecordTypes: types,
	}
	provider, err := alibabacloud.New(context.Background(), config, filter)
	check(err)
	records, err := txt.New(config, provider)
	check(err)
	return records
}

// round does what the controller does once; how many changes there were.
func round(name string, records registry.Registry, desired []*endpoint.Endpoint) int {
	ctx := context.Background()
	current, err := records.Records(ctx)
	check(err)
	desired, err = records.AdjustEndpoints(desired)
	check(err)
	filter := endpoint.MatchAllDomainFilters{endpoint.NewDomainFilter([]string{zone}), records.GetDomainFilter()}
	calculated := (&plan.Plan{
		Policies: []plan.Policy{&plan.SyncPolicy{}}, Current: current, Desired: desired, DomainFilter: filter,
		ManagedRecords: types, OwnerID: records.OwnerID(),
	}).Calculate()
	changes := calculated.Changes
	number := len(changes.Create) + len(changes.UpdateNew) + len(changes.Delete)
	fmt.Println(name, len(changes.Create), len(changes.UpdateNew), len(changes.Delete))
	if number > 0 {
		check(records.ApplyChanges(ctx, changes))
	}
	return number
}

func main() {
	a := func(name string, targets ...string) *endpoint.Endpoint {
		return endpoint.NewEndpointWithTTL(name, "A", ttl, targets...)
	}
	private := start("private")
	if len(os.Args) > 1 {
		number, err := strconv.Atoi(os.Args[1])
		check(err)
		var many []*endpoint.Endpoint
		for at := range number {
			many = append(many, a(fmt.Sprintf("host-%d.%s", at, zone), "192.0.2.1"))
		}
		round("many", private, many)
		round("again", private, many)
		return
	}
	first := []*endpoint.Endpoint{
		a("web."+zone, "192.0.2.1", "192.0.2.2"),
		a("*.wild."+zone, "192.0.2.3"),
		a(zone, "192.0.2.4"),
		endpoint.NewEndpointWithTTL("v6."+zone, "AAAA", ttl, "2001:db8::1"),
		endpoint.NewEndpointWithTTL("alias."+zone, "CNAME", ttl, "web."+zone),
	}
	second := []*endpoint.Endpoint{a("web."+zone, "192.0.2.9"), first[1], first[2], first[3]}
	round("create", private, first)
	round("change", private, second)
	round("quiet", private, second)
	round("delete", private, nil)
	// The account has no public domains: the loop goes on, and nothing is made.
	public := start("public")
	for _, desired := range [][]*endpoint.Endpoint{nil, first, second, second} {
		round("public", public, desired)
	}
}
