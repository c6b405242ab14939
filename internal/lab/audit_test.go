package lab

import (
	"os"
	"path/filepath"
	"testing"
)

// A reader that goes on from an offset sees each event once, and a line only when it is whole.
func TestAuditLogIsReadAsItGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	const first, second = `{"verb":"get"}` + "\n", `{"verb":"list"}` + "\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first + second[:5])
	events, end, err := ReadAuditFrom(path, 0)
	if err != nil || len(events) != 1 || events[0].Verb != "get" || end != int64(len(first)) {
		t.Fatalf("%+v up to %d, %v", events, end, err)
	}
	write(first + second)
	events, end, err = ReadAuditFrom(path, end)
	if err != nil || len(events) != 1 || events[0].Verb != "list" || end != int64(len(first+second)) {
		t.Errorf("%+v up to %d, %v", events, end, err)
	}
	if events, _, err := ReadAuditFrom(path, end); err != nil || len(events) != 0 {
		t.Errorf("nothing is new: %+v, %v", events, err)
	}
}
