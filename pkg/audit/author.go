package audit

import "time"

// slack is how far the time in managed fields, which has seconds, may be from that of the request.
const slack = 2 * time.Second

// Author is who wrote an object by a client, whose last write was at the time that its managed fields tell; zero: they
// tell none. All writes by one client share one entry there, with the time of the last, so somebody is named only who
// was alone with the client since the last apply by the manager own, which put the fields right. With an empty own it is
// since the object was created: no apply touches what git does not set.
func (l *Log) Author(object Object, client Client, at time.Time, own string) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	matched := at.IsZero()
	w, ok := l.since(object, own).alone(func(w Write) bool {
		if !w.by(client) {
			return false
		}
		matched = matched || !at.Before(w.Time.Add(-slack)) && !at.After(w.End.Add(slack))
		return true
	})
	if !ok || !matched {
		return Write{}, false
	}
	return w, true
}

// Deleter is who deleted an object. Any delete may have been a dry run, which a log of level Metadata does not tell, so
// nobody is named where several users deleted since the object was created.
func (l *Log) Deleter(object Object) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.since(object, "")
	many := object
	many.Name = "" // a deletecollection names no object, and may have spared this one by its selector
	if h := l.objects[many]; h != nil {
		p.writes = append(p.writes, h.writes...)
		p.lost = later(p.lost, h.lost)
	}
	return p.alone(func(w Write) bool { return w.deletes() && !w.End.Before(p.begin) })
}

// Only is who wrote an object since the last apply by the manager own, where that was a single user: the author of a
// change that left no entry in the managed fields, as the removal of a field does.
func (l *Log) Only(object Object, own string) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.since(object, own)
	if p.begin.IsZero() {
		return Write{}, false
	}
	return p.alone(func(w Write) bool { return !w.deletes() })
}

// period is what others wrote to an object since its fields were known.
type period struct {
	begin  time.Time // zero: the log's beginning
	lost   time.Time // writes up to here may be missing; zero: none
	writes []Write
}

// since returns the period since an object was created or, where own is not empty, last applied by that manager. What
// was not answered by then belongs to it: which came first cannot be told.
func (l *Log) since(object Object, own string) period {
	p := period{lost: l.lost}
	h := l.objects[object]
	if h == nil {
		return p
	}
	p.lost = later(p.lost, h.lost)
	var self Write
	for _, w := range h.writes {
		applied := own != "" && w.applies(own)
		if applied {
			self = w
		}
		if applied || w.Created {
			p.begin = later(p.begin, w.Time)
		}
	}
	for _, w := range h.writes {
		// The manager's name alone is no proof: anybody may give it to kubectl.
		itself := own != "" && w.Manager == own && (w.applies(own) || w.Who() == self.Who())
		if !itself && !w.End.Before(p.begin) {
			p.writes = append(p.writes, w)
		}
	}
	return p
}

// alone is the last write that fits, where all that fit are of one user and none may be missing.
func (p period) alone(fits func(Write) bool) (last Write, found bool) {
	if !p.lost.IsZero() && !p.begin.After(p.lost) {
		return Write{}, false
	}
	for _, w := range p.writes {
		if !fits(w) {
			continue
		}
		if found && (w.User != last.User || w.By != last.By) {
			return Write{}, false
		}
		last, found = w, true
	}
	return last, found
}
