package audit

import "time"

// slack is the largest difference between the time in managed fields, which has seconds, and the time of the request.
const slack = 2 * time.Second

// Author returns the write of an object by a client. The argument at is the time of the client's last write in the managed
// fields; zero: they have none. All writes by one client share one entry there, with the time of the last write. So Author
// names a user only if no other user wrote by the client since the last apply by the manager own, which restored the
// fields. With an empty own, the period begins when the object was created: no apply touches a field that git does not set.
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

// Deleter returns the write that deleted an object. Each delete may have been a dry run, which a log of level Metadata does
// not show. So Deleter names no user where several users deleted the object since its creation.
func (l *Log) Deleter(object Object) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.since(object, "")
	many := object
	many.Name = "" // a deletecollection names no object, and its selector may not match this one
	if h := l.objects[many]; h != nil {
		p.writes = append(p.writes, h.writes...)
		p.lost = later(p.lost, h.lost)
	}
	return p.alone(func(w Write) bool { return w.deletes() && !w.End.Before(p.begin) })
}

// Only returns the write of the only user who wrote an object since the last apply by the manager own: the author of a
// change without an entry in the managed fields, such as the removal of a field.
func (l *Log) Only(object Object, own string) (Write, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.since(object, own)
	if p.begin.IsZero() {
		return Write{}, false
	}
	return p.alone(func(w Write) bool { return !w.deletes() })
}

// period has the writes of others to an object since a time when its fields were known.
type period struct {
	begin  time.Time // zero: the log's beginning
	lost   time.Time // writes until this time may be missing; zero: none
	writes []Write
}

// since returns the period since an object was created or, where own is not empty, last applied by that manager. A write
// that was not answered at its begin belongs to it, since the order of the two is unknown.
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
		// The name of the manager alone is no proof: each user can give it to kubectl.
		itself := own != "" && w.Manager == own && (w.applies(own) || w.Who() == self.Who())
		if !itself && !w.End.Before(p.begin) {
			p.writes = append(p.writes, w)
		}
	}
	return p
}

// alone returns the last matching write, if all matching writes are of one user and none may be missing.
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
