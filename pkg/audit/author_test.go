package audit

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// after is a time in seconds since noon.
func after(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func TestAuthorOfSeveral(t *testing.T) {
	edit := func(user string, at int) string { return line("patch", user, "kubectl-edit", "a", "", after(at)) }
	bobs := strings.Replace(edit("bob", 20), `"user":{"username":"bob"}`, `"user":{"username":"admin"},"impersonatedUser":{"username":"bob"}`, 1)
	slow := strings.Replace(edit("alice", 20), `"stageTimestamp":"2026-03-03T12:00:20Z"`, `"stageTimestamp":"2026-03-03T12:00:50Z"`, 1)
	forced := strings.Replace(edit("bob", 20), "?", "?force=false&", 1)
	mayApply := Client{"kubectl-edit", "Apply", ""}
	for name, c := range map[string]struct {
		log    string
		client Client
		at     time.Time
		own    string
		want   string
	}{
		"two users of one client":                   {edit("alice", 10) + edit("bob", 20), Client{}, after(20), "syncer", ""},
		"two users and no time":                     {edit("alice", 10) + edit("bob", 20), Client{}, time.Time{}, "syncer", ""},
		"one user and no time":                      {edit("bob", 10) + edit("bob", 20), Client{}, time.Time{}, "syncer", "bob"},
		"an apply between them":                     {edit("alice", 10) + apply("a", after(15)) + edit("bob", 20), Client{}, after(20), "syncer", "bob"},
		"an apply that was none":                    {edit("alice", 10) + line("patch", "eve", "syncer", "a", "", after(15)) + edit("bob", 20), Client{}, after(20), "syncer", ""},
		"an apply between them, of no use":          {edit("alice", 10) + apply("a", after(15)) + edit("bob", 20), Client{}, after(20), "", ""},
		"an apply that failed":                      {edit("alice", 10) + strings.Replace(apply("a", after(15)), `"code":200`, `"code":504`, 1) + edit("bob", 20), Client{}, after(20), "syncer", ""},
		"an apply at the same time":                 {slow + apply("a", after(30)) + edit("bob", 60), Client{}, after(60), "syncer", ""},
		"another object of the name":                {edit("alice", 10) + created("eve", "a", after(15)) + edit("bob", 20), Client{}, after(20), "", "bob"},
		"a timeout after which it may be done":      {strings.Replace(edit("alice", 10), `"code":200`, `"code":504`, 1) + edit("bob", 20), Client{}, after(20), "syncer", ""},
		"a write that ends in a panic":              {strings.Replace(edit("alice", 10), "ResponseComplete", "Panic", 1) + strings.Replace(edit("bob", 20), `"code":200`, `"code":500`, 1), Client{}, after(20), "syncer", ""},
		"impersonated":                              {edit("bob", 10) + bobs, Client{}, after(20), "syncer", ""},
		"always impersonated":                       {bobs, Client{}, after(20), "syncer", "bob, impersonated by admin"},
		"a slow write, at its beginning":            {slow, Client{}, after(20), "syncer", "alice"},
		"a slow write, at its end":                  {slow, Client{}, after(50), "syncer", "alice"},
		"a slow write, after its end":               {slow, Client{}, after(53), "syncer", ""},
		"a slow write, before it":                   {slow, Client{}, after(17), "syncer", ""},
		"by an apply what an apply wrote":           {edit("alice", 10) + forced, mayApply, after(20), "syncer", ""},
		"by an apply what surely an apply wrote":    {forced, mayApply, after(20), "syncer", "bob"},
		"by an update what surely an apply wrote":   {forced, Client{}, after(20), "syncer", ""},
		"by an update what surely an apply made":    {strings.Replace(edit("bob", 20), `"code":200`, `"code":201`, 1), Client{}, after(20), "syncer", ""},
		"by an update, beside what an apply wrote":  {edit("alice", 20) + forced, Client{}, after(20), "syncer", "alice"},
		"by an apply what surely an update wrote":   {strings.Replace(edit("bob", 20), `"patch"`, `"update"`, 1), mayApply, after(20), "syncer", ""},
		"a controller that would fill the memory":   {edit("alice", 10) + busy(20) + edit("bob", 5000), Client{}, after(5000), "syncer", ""},
		"the same, of the status":                   {edit("alice", 10) + strings.ReplaceAll(busy(20), `"subresource":""`, `"subresource":"status"`), Client{}, after(10), "syncer", "alice"},
		"more users than are remembered":            {edit("alice", 10) + crowd(20) + edit("bob", 5000), Client{}, after(5000), "syncer", ""},
		"more users than are remembered, and apply": {edit("alice", 10) + crowd(20) + apply("a", after(4000)) + edit("bob", 5000), Client{}, after(5000), "syncer", "bob"},
	} {
		if c.client == (Client{}) {
			c.client = Client{"kubectl-edit", "Update", ""}
		}
		got, ok := written(t, c.log).Author(object("a"), c.client, c.at, c.own)
		if got.Who() != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %t", name, got.Who(), ok)
		}
	}
}

// busy is a controller that writes an object more often than is remembered.
func busy(from int) string {
	var lines strings.Builder
	for i := range mostPerObject * 2 {
		lines.WriteString(line("update", "system:busy", "busy", "a", "", after(from+i)))
	}
	return lines.String()
}

// crowd is more users than are remembered, each with a client of their own.
func crowd(from int) string {
	var lines strings.Builder
	for i := range mostPerObject * 2 {
		lines.WriteString(line("patch", fmt.Sprint("user", i), fmt.Sprint("client", i), "a", "", after(from+i)))
	}
	return lines.String()
}

func TestNobodyIsNamedOfWhatWasForgotten(t *testing.T) {
	log := NewLog("")
	log.most = 100
	log.addLine([]byte(line("patch", "alice", "kubectl-edit", "a", "", noon)))
	for i := range log.most {
		log.addLine([]byte(line("patch", "u", "m", fmt.Sprint("other", i), "", after(i+1))))
	}
	log.addLine([]byte(line("patch", "bob", "kubectl-edit", "a", "", after(1000))))
	edit := Client{"kubectl-edit", "Update", ""}
	if got, ok := log.Author(object("a"), edit, after(1000), "syncer"); ok {
		t.Errorf("alice is forgotten, and it is %q", got.User)
	}
	log.addLine([]byte(apply("a", after(1001))))
	log.addLine([]byte(line("patch", "bob", "kubectl-edit", "a", "", after(1002))))
	if got, _ := log.Author(object("a"), edit, after(1002), "syncer"); got.User != "bob" {
		t.Errorf("bob was alone, and it is %q", got.User)
	}
}

func TestDeleter(t *testing.T) {
	remove := func(user string, at int) string { return line("delete", user, "", "a", "", after(at)) }
	dry := func(user string, at int) string {
		return strings.Replace(remove(user, at), `"objectRef"`, `"requestObject":{"kind":"DeleteOptions","apiVersion":"v1","dryRun":["All"]},"objectRef"`, 1)
	}
	of := func(verb, user string, at int) string {
		return strings.Replace(line(verb, user, "", "a", "", after(at)), `"name":"a",`, "", 1)
	}
	for name, c := range map[string]struct{ log, want string }{
		"one":                             {remove("alice", 1), "alice"},
		"one, twice":                      {remove("alice", 1) + remove("alice", 2), "alice"},
		"two, one perhaps without effect": {remove("alice", 1) + remove("bob", 2), ""},
		"two, one surely without effect":  {dry("alice", 1) + remove("bob", 2), "bob"},
		"two, and a creation between":     {remove("alice", 1) + created("syncer", "a", after(2)) + remove("bob", 3), "bob"},
		"a creation by an apply":          {remove("alice", 1) + strings.Replace(apply("a", after(2)), `"code":200`, `"code":201`, 1) + remove("bob", 3), "bob"},
		"two, and an apply between":       {remove("alice", 1) + apply("a", after(2)) + remove("bob", 3), ""},
		"nobody since the creation":       {remove("alice", 1) + created("syncer", "a", after(2)), ""},
		"through a proxy":                 {line("delete", "eve", "", "a", "proxy", after(1)), ""},
		"through any subresource":         {line("delete", "eve", "", "a", "instances", after(1)), ""},
		"an eviction":                     {line("create", "eve", "", "a", "eviction", after(1)), "eve"},
		"all of them":                     {of("deletecollection", "alice", 1), "alice"},
		"all of them before":              {of("deletecollection", "alice", 1) + created("syncer", "a", after(2)), ""},
		"one or all":                      {remove("alice", 1) + of("deletecollection", "bob", 2), ""},
		"a timeout":                       {strings.Replace(remove("alice", 1), `"code":200`, `"code":504`, 1), "alice"},
	} {
		got, ok := written(t, c.log).Deleter(object("a"))
		if got.User != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %t", name, got.User, ok)
		}
	}
}

func TestRepeatedBatches(t *testing.T) {
	log := NewLog("")
	lines := []string{apply("a", after(1)), line("patch", "alice", "kubectl-edit", "a", "", after(2)), line("patch", "bob", "kubectl-edit", "a", "", after(3))}
	for range 3 {
		if err := log.Take(batch(lines...)); err != nil {
			t.Fatal(err)
		}
	}
	if log.count != 3 || len(log.objects[object("a")].writes) != 3 {
		t.Errorf("%d writes of 3", log.count)
	}
	// A batch that comes late tells of an earlier time.
	if err := log.Take(batch(line("patch", "carol", "kubectl-edit", "a", "", noon))); err != nil {
		t.Fatal(err)
	}
	if got := log.objects[object("a")].writes[0].User; got != "carol" {
		t.Errorf("the first write is %s's", got)
	}
}

func TestDefaultManager(t *testing.T) {
	for agent, want := range map[string]string{
		"kubectl/v1.36 (linux/amd64)":         "kubectl",
		"":                                    "unknown",
		"/v1":                                 "unknown",
		"cu\u0000rl\t\u200b":                  "curl",
		"Data Tool":                           "Data Tool",
		strings.Repeat("a", 200):              strings.Repeat("a", 128),
		strings.Repeat("a", 127) + "é" + "b/": strings.Repeat("a", 127),
	} {
		if got := defaultManager(agent); got != want {
			t.Errorf("%q: %q", agent, got)
		}
	}
}

// The API server says of a request to a Namespace that it is in it, and of one that makes a Namespace that it is in none.
func TestNamespaces(t *testing.T) {
	const (
		create = `{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces?fieldManager=kubectl-create\u0026fieldValidation=Strict","verb":"create","user":{"username":"admin"},"userAgent":"kubectl/v0.0.0","objectRef":{"resource":"namespaces","name":"ns1","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":201},"requestReceivedTimestamp":"2026-11-21T07:33:00.055832Z","stageTimestamp":"2026-11-21T07:33:00.058378Z"}`
		label  = `{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/ns1?fieldManager=kubectl-label","verb":"patch","user":{"username":"alice"},"userAgent":"kubectl/v0.0.0","objectRef":{"resource":"namespaces","namespace":"ns1","name":"ns1","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-21T07:33:00.185107Z","stageTimestamp":"2026-11-21T07:33:00.187100Z"}`
		remove = `{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/ns1","verb":"delete","user":{"username":"bob"},"userAgent":"kubectl/v0.0.0","objectRef":{"resource":"namespaces","namespace":"ns1","name":"ns1","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-21T07:33:01.905113Z","stageTimestamp":"2026-11-21T07:33:01.908450Z"}`
	)
	log := NewLog("")
	if err := log.Take(batch(create, label, remove)); err != nil {
		t.Fatal(err)
	}
	space := Object{Resource: "namespaces", Name: "ns1"}
	if got, _ := log.Author(space, Client{"kubectl-label", "Update", ""}, time.Time{}, "syncer"); got.User != "alice" {
		t.Errorf("labelled by %q", got.User)
	}
	if got, _ := log.Deleter(space); got.User != "bob" {
		t.Errorf("deleted by %q", got.User)
	}
}
