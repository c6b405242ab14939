package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

func sortKeys(all []key) {
	slices.SortFunc(all, func(a, b key) int { return strings.Compare(a.String(), b.String()) })
}

// act makes the people around syncer do something: mostly commit.
func (s *stage) act(ctx context.Context) error {
	switch n := s.random.IntN(100); {
	case n < 50:
		return s.commit(ctx)
	case n < 65:
		return s.revert(ctx)
	case n < 72:
		return s.forceBack(ctx)
	case n < 82:
		return s.moveTag(ctx)
	default:
		return s.edit(ctx)
	}
}

func (s *stage) commit(ctx context.Context) error {
	m := s.repo.head().model
	var changes []string
	for range 1 + s.random.IntN(3) {
		var what string
		m, what = m.changed(s.random)
		changes = append(changes, what)
	}
	return s.push(ctx, m, strings.Join(changes, ", "))
}

// revert commits the content before the newest commit.
func (s *stage) revert(ctx context.Context) error {
	return s.push(ctx, s.repo.before(1), "Revert")
}

func (s *stage) push(ctx context.Context, m model, subject string) error {
	if err := s.repo.commit(ctx, maps.Clone(m), subject); err != nil {
		return err
	}
	s.journal.say("commit %s: %s", short(s.repo.head().commit), subject)
	return nil
}

func (s *stage) forceBack(ctx context.Context) error {
	if err := s.repo.back(ctx, 1+s.random.IntN(2)); err != nil {
		return err
	}
	s.journal.say("force push back to %s", short(s.repo.head().commit))
	return nil
}

func (s *stage) moveTag(ctx context.Context) error {
	name, tag := pipelines[s.random.IntN(len(pipelines))], 1+s.random.IntN(tags)
	digest, err := s.images.move(ctx, name, tag)
	if err != nil {
		return fmt.Errorf("moving a tag: %w", err)
	}
	s.journal.say("move %s to %s", reference(name, tag), digest[:15])
	return nil
}
