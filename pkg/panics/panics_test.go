package panics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

func fall() {
	var none []int
	fmt.Println(none[len(none)])
}

func TestAPanicIsAnErrorWithItsPlaceAndStack(t *testing.T) {
	err := Try(func() error { fall(); return nil })
	caught := In(fmt.Errorf("some target: %w", err))
	if caught == nil {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"panics.fall (panics_test.go:", "index out of range"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %s", want, err)
		}
	}
	if !strings.Contains(caught.Stack, "panics.fall(") {
		t.Errorf("the stack does not show where: %s", caught.Stack)
	}
	if !caught.First() || caught.First() {
		t.Error("it is not told once")
	}
}

func TestTheValueOfAPanicIsNotShown(t *testing.T) {
	for _, value := range []any{"canary", errors.New("canary"), struct{ password string }{"canary"}} {
		caught := Catch(func() { panic(value) })
		if text := caught.Error() + caught.Stack; strings.Contains(text, "canary") {
			t.Errorf("a %T is shown: %s", value, text)
		}
	}
}

func TestAReportedPanicSaysTheSame(t *testing.T) {
	for _, do := range []func(){fall, func() { panic("canary") }} {
		caught := Catch(do)
		again := caught.Report().Error()
		if again.Error() != caught.Error() || again.Stack != caught.Stack || again.Function != caught.Function {
			t.Errorf("%s\nis not\n%s", again, caught)
		}
	}
}

func TestWhatDoesNotPanic(t *testing.T) {
	if caught := Catch(func() {}); caught != nil {
		t.Errorf("caught %v", caught)
	}
	wrong := errors.New("wrong")
	if err := Try(func() error { return wrong }); !errors.Is(err, wrong) || In(err) != nil {
		t.Errorf("got %v", err)
	}
}

// What runs in goroutines below a target fails that target, and not the process.
func TestThePanicOfAGoroutineReachesWhoWaits(t *testing.T) {
	for _, test := range []struct {
		name  string
		group func() *Group
	}{
		{"zero", func() *Group { return &Group{} }},
		{"with a context", func() *Group { g, _ := WithContext(t.Context()); return g }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ran atomic.Int32
			err := Try(func() error {
				g := test.group()
				g.SetLimit(2)
				for i := range 9 {
					g.Go(func() error {
						if ran.Add(1); i == 4 {
							fall()
						}
						return nil
					})
				}
				return g.Wait()
			})
			caught := In(err)
			if caught == nil || !strings.Contains(caught.Stack, "panics.fall(") {
				t.Fatalf("got %v", err)
			}
			if ran.Load() != 9 {
				t.Errorf("%d of 9 functions ran", ran.Load())
			}
		})
	}
}

// A panic that a function caught itself is an error like any other.
func TestAnErrorOfAPanicIsNoPanic(t *testing.T) {
	var g Group
	g.Go(func() error { return Try(func() error { fall(); return nil }) })
	if caught := Catch(func() {
		if err := g.Wait(); In(err) == nil {
			t.Errorf("got %v", err)
		}
	}); caught != nil {
		t.Error("Wait raised it again")
	}
}

func TestAGroupEndsItsContext(t *testing.T) {
	wrong := errors.New("wrong")
	for _, test := range []struct {
		name string
		do   func() error
		want error
	}{
		{"by an error", func() error { return wrong }, wrong},
		{"by a panic", func() error { fall(); return nil }, nil},
		{"by its end", func() error { return nil }, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, ctx := WithContext(t.Context())
			g.Go(test.do)
			if test.want != context.Canceled {
				<-ctx.Done() // before Wait
			}
			_ = Catch(func() { _ = g.Wait() })
			<-ctx.Done()
			if cause := context.Cause(ctx); test.want == nil && In(cause) == nil || test.want != nil && !errors.Is(cause, test.want) {
				t.Errorf("the context ended by %v", cause)
			}
		})
	}
}
