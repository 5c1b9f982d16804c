package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A child of the test binary runs main; see TestMain.
const asPause = "TEST_AS_PAUSE"

func TestMain(m *testing.M) {
	if os.Getenv(asPause) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start runs pause by way of `words`, as its parent or in its place, and waits until it is up.
func start(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	pause := exec.Command("sh", "-c", script, os.Args[0])
	pause.Env = append(os.Environ(), asPause+"=1")
	if err := pause.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pause.Process.Kill(); _ = pause.Wait() })
	return pause
}

func TestItEndsInPeaceWhenToldTo(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		pause := start(t, `exec "$0"`)
		time.Sleep(200 * time.Millisecond)
		if err := pause.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := pause.Wait(); err != nil {
			t.Errorf("%v: %v", signal, err)
		}
	}
}

// The shell leaves a child behind and becomes pause, which then is the child's parent.
func TestItReapsWhatIsLeftToIt(t *testing.T) {
	pause := start(t, `sleep 0.3 & exec "$0"`)
	children := "/proc/" + strconv.Itoa(pause.Process.Pid) + "/task/" + strconv.Itoa(pause.Process.Pid) + "/children"
	time.Sleep(100 * time.Millisecond)
	if text, err := os.ReadFile(children); err != nil || strings.TrimSpace(string(text)) == "" {
		t.Skipf("this kernel does not list a process's children: %v", err)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(children)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(text)) == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a dead child is still there: %s", text)
		}
	}
}
