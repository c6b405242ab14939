package lab

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// helperDir names the environment variable that makes this test binary a program which starts parts and is then killed.
const helperDir = "LAB_TEST_HELPER_DIR"

func TestPartsDieWithTheProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends children with their parent")
	}
	if own := os.Getenv(helperDir); own != "" {
		startAndWait(t, own)
	}
	ctx, dir := start(t), t.TempDir()
	helper := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPartsDieWithTheProgram$", "-test.v")
	helper.Env = append(os.Environ(), helperDir+"="+dir)
	stdout, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	up := false
	for lines := bufio.NewScanner(stdout); !up && lines.Scan(); {
		up = lines.Text() == "all up"
		if !up {
			t.Log(lines.Text())
		}
	}
	if !up {
		t.Fatalf("the helper ended: %v", helper.Wait())
	}
	if running := len(commandsNaming(t, dir)); running < 6 {
		t.Errorf("%d processes run, not even one per part", running)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // killed, as it should be
	eventually(t, ctx, "every part to end", func() (bool, error) { return len(commandsNaming(t, dir)) == 0, nil })
}

// startAndWait starts every part that is a program, says so, and waits to be killed.
func startAndWait(t *testing.T, dir string) {
	ctx := start(t)
	_, err := StartControlPlane(ctx, ControlPlaneOptions{Bin: controlPlaneBin, Dir: filepath.Join(dir, "plane"), Controllers: true, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = StartRegistry(ctx, RegistryOptions{Bin: registryBin, Dir: filepath.Join(dir, "registry"), Username: "ci", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := StartGitSSH(ctx, SSHOptions{Dir: filepath.Join(dir, "git")}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString("all up\n"); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
}
