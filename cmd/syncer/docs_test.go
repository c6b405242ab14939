package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notRun are the commands in pages for beginners that no test runs, with the reason. Everything else is run.
var notRun = map[string]string{
	"make demo SCRIPT=1": "it builds Kubernetes first, and holds itself to what it shows: it ends with 0 only if each act held",
	"go install github.com/syncerdev/syncer/cmd/syncer@latest": "it would install what is published; the test has the command of this tree in its path",
}

// TestDocs runs what README.md and the first steps tell people to type, in one shell for each page, against real parts. A
// block of sh has commands only. One of console has commands after "$ ", and below each what it prints; where nothing
// stands below, its output is not compared.
func TestDocs(t *testing.T) {
	p := startParts(t)
	unused := make(map[string]string)
	for command, reason := range notRun {
		unused[command] = reason
	}
	for page, minimum := range map[string]int{"README.md": 1, "docs/getting-started.md": 15} {
		ran := 0
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(page, func(t *testing.T) {
			sh := p.newShell(t, strings.TrimSuffix(filepath.Base(page), ".md"))
			for _, s := range steps(t, page, sh.edit(string(text))) {
				if _, skipped := notRun[s.command]; skipped {
					delete(unused, s.command)
					ran++
					continue
				}
				sh.run(s)
				ran++
			}
			if ran < minimum {
				t.Errorf("%s has %d commands; at least %d were to be run", page, ran, minimum)
			}
		})
	}
	for command := range unused {
		t.Errorf("%q is said not to be run, and no page has it", command)
	}
}

// step is one command, or a block of them, with the output that the page shows.
type step struct {
	name, command string
	output        []string
	block         bool // several commands, each of which has to end well
}

// steps lists the commands of a page's blocks of sh and console. A command goes on after a backslash.
func steps(t *testing.T, name, text string) []step {
	t.Helper()
	var steps []step
	language, number := "", 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		at := fmt.Sprintf("%s:%d", name, number)
		fence, isFence := strings.CutPrefix(line, "```")
		last := len(steps) - 1
		switch {
		case isFence && language != "":
			language = ""
		case isFence:
			language = cmp.Or(fence, "none")
			if language == "sh" {
				steps = append(steps, step{name: at, block: true})
			}
		case language == "sh":
			steps[last].command = strings.TrimPrefix(steps[last].command+"\n"+line, "\n")
		case language == "console" && strings.HasPrefix(line, "$ "):
			steps = append(steps, step{name: at, command: line[len("$ "):]})
		case language == "console" && strings.HasSuffix(steps[last].command, `\`):
			steps[last].command += "\n" + line
		case language == "console":
			steps[last].output = append(steps[last].output, line)
		}
	}
	if language != "" {
		t.Fatalf("%s: a code block does not end", name)
	}
	return steps
}

// shell is one session of bash, like that of a person who works through a page.
type shell struct {
	t      *testing.T
	stdin  io.Writer
	stdout *bufio.Reader
	stderr string // file of what the last command wrote there
	images string // where the images of the pages are in the lab's registry
	edits  *strings.Replacer
}

// newShell gives a session its own folder, repository and images, and the identity that a reader's git has.
func (p *parts) newShell(t *testing.T, name string) *shell {
	t.Helper()
	home, repo := t.TempDir(), strings.ToLower(name)
	work := filepath.Join(home, "work")
	sh := &shell{t: t, stderr: filepath.Join(home, "stderr"), images: p.registry.Host + "/" + repo + "/busybox"}
	// The lab provides here the things that a reader has.
	sh.edits = strings.NewReplacer(
		"docker.io/library/busybox", sh.images,
		"https://git.example.com/you/pipelines.git", p.git.URL(repo),
		"YOUR-NAME", gitUser, "YOUR-TOKEN", gitPassword,
	)
	credentials, err := url.JoinPath(p.git.CloneURL(repo), "..") // for the whole server
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		".gitconfig":       "[user]\nname = Ada Data\nemail = ada@example.com\n[credential]\nhelper = store\n",
		".git-credentials": credentials + "\n",
	} {
		if err := os.WriteFile(filepath.Join(home, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.git.Create(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1.36.1", "1.37.0"} {
		if _, err := p.registry.Push(t.Context(), repo+"/busybox:"+tag, tag); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Dir = work
	cmd.Env = []string{
		"HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "KUBECONFIG=" + p.plane.Kubeconfig,
		"DOCKER_CONFIG=" + p.registry.DockerConfig,
		"PATH=" + filepath.Join(p.bin, "controlplane") + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	sh.start(cmd)
	return sh
}

func (s *shell) start(cmd *exec.Cmd) {
	s.t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.stdin, s.stdout = stdin, bufio.NewReader(stdout)
	s.t.Cleanup(func() {
		// A process that a page leaves in the background ends with its shell.
		fmt.Fprintln(stdin, `kill $(jobs -p) 2>/dev/null; wait; exit 0`)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("the shell: %v", err)
		}
	})
}

// edit puts the lab's servers in the place of the reader's.
func (s *shell) edit(text string) string { return s.edits.Replace(text) }

const endOfStep = "--- end of the step, status "

// run types a step and compares its output.
func (s *shell) run(step step) {
	s.t.Helper()
	// In a block each command counts; the last one's status is that of a single command.
	fmt.Fprintf(s.stdin, "failed=0; trap 'failed=$?' ERR; exec 2>%s\n%s\nstatus=$?; trap - ERR\n", s.stderr, step.command)
	if step.block {
		fmt.Fprintln(s.stdin, "status=$failed")
	}
	fmt.Fprintf(s.stdin, "printf '\\n%s%%d\\n' $status\n", endOfStep)
	var out bytes.Buffer
	status := ""
	for status == "" {
		line, err := s.stdout.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %s\nthe shell has ended: %v\n%s%s", step.name, step.command, err, out.String(), s.errors())
		}
		if code, ended := strings.CutPrefix(line, endOfStep); ended {
			status = strings.TrimSpace(code)
			break
		}
		out.WriteString(line)
	}
	got := strings.TrimSuffix(out.String(), "\n") // printf began a new line
	if want := wantStatus(step); status != want {
		s.t.Fatalf("%s: %s\nended with %s and not %s:\n%s%s", step.name, step.command, status, want, got, s.errors())
	}
	if len(step.output) > 0 && !looksLike(step.output, strings.Split(strings.TrimSuffix(got, "\n"), "\n")) {
		s.t.Fatalf("%s: %s\nprints:\n%s\nand the page says:\n%s\nstderr:\n%s", step.name, step.command, got, strings.Join(step.output, "\n"), s.errors())
	}
}

// wantStatus is 1 for the commands that compare, where they are shown to find something.
func wantStatus(step step) string {
	compares := strings.HasPrefix(step.command, "syncer diff") || strings.HasPrefix(step.command, "syncer drift")
	if compares && !slices.ContainsFunc(step.output, func(line string) bool { return strings.HasPrefix(line, "no drift") }) {
		return "1"
	}
	return "0"
}

func (s *shell) errors() string {
	text, err := os.ReadFile(s.stderr)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// The parts that differ at each run and on each machine: hashes, times, ages, and the width of their columns.
var (
	aHash     = regexp.MustCompile(`\b[0-9a-f]{7,64}\b`)
	aMoment   = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`)
	anAge     = regexp.MustCompile(`\b(\d+(\.\d+)?(ms|s|m|h|d))+\b`)
	someSpace = regexp.MustCompile(`\s+`)
)

func masked(line string) string {
	line = aMoment.ReplaceAllString(line, "TIME")
	line = aHash.ReplaceAllString(line, "HASH")
	line = anAge.ReplaceAllString(line, "AGE")
	return strings.TrimSpace(someSpace.ReplaceAllString(line, " "))
}

// looksLike compares what a page shows with what was printed. A line "..." stands for any lines, also none, and "..." at
// the end of a line for its rest.
func looksLike(shown, printed []string) bool {
	if len(shown) == 0 {
		return len(printed) == 0
	}
	if shown[0] == "..." {
		return looksLike(shown[1:], printed) || len(printed) > 0 && looksLike(shown, printed[1:])
	}
	if len(printed) == 0 {
		return false
	}
	want, got := masked(shown[0]), masked(printed[0])
	if start, cut := strings.CutSuffix(want, "..."); cut && strings.HasPrefix(got, start) {
		want = got
	}
	return want == got && looksLike(shown[1:], printed[1:])
}

// TestLooksLike checks which differences the comparison ignores, and which ones it reports.
func TestLooksLike(t *testing.T) {
	printed := []string{"commit 0eb11e18  Deploy", "Applied    ingest@dev  1 created", "AGE 12s at 2026-11-21 00:27:45", "no drift"}
	for name, c := range map[string]struct {
		shown []string
		same  bool
	}{
		"as it is":             {printed, true},
		"another hash and age": {[]string{"commit 60329aee Deploy", printed[1], "AGE 3m at 2026-01-02 10:00:00", printed[3]}, true},
		"cut lines":            {[]string{"commit 60329aee Deploy", "...", "no drift"}, true},
		"a cut line":           {[]string{"commit ...", printed[1], printed[2], printed[3]}, true},
		"nothing left out":     {[]string{"...", printed[0], "...", printed[1], printed[2], printed[3], "..."}, true},
		"another subject":      {[]string{"commit 0eb11e18  Destroy", "..."}, false},
		"another target":       {[]string{printed[0], "Applied    ingest@prod  1 created", "..."}, false},
		"a line more":          {append(slices.Clone(printed), "more"), false},
		"a line less":          {printed[:3], false},
		"a hash of words":      {[]string{"commit Deploy", "..."}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := looksLike(c.shown, printed); same != c.same {
				t.Errorf("%v: %q", same, c.shown)
			}
		})
	}
}
