// Package limit decides how much a commit may delete without a trailer that allows it. A set that loses many objects at once
// is more likely a mistake than a wish. It compares counts; what is counted, and how the refusal reads, is up to its callers.
package limit

import "fmt"

// Objects names the limit that a commit exceeds which deletes some of the objects of a target: all of them, more than a
// share in percent, or more than a number, where 0 is no limit. "" says that it exceeds none.
func Objects(deleted, total, maxPercent, maxObjects int) string {
	switch {
	case deleted == 0:
		return ""
	case deleted == total:
		return "what a commit may delete without leave"
	case deleted*100 > maxPercent*total:
		return fmt.Sprintf("the limit of %d %%", maxPercent)
	}
	return Target(deleted, maxObjects)
}

// Target names the limit that the removal of a whole target exceeds, by the number of its objects; "": none.
func Target(objects, maxObjects int) string {
	if maxObjects > 0 && objects > maxObjects {
		return fmt.Sprintf("the limit of %d objects", maxObjects)
	}
	return ""
}

// Pipelines reports whether a commit removes too many of the pipelines of an environment: all of them, or more than a share
// in percent. A moved folder looks just like a wish to delete everything.
func Pipelines(removed, total, maxPercent int) bool {
	return removed > 0 && (removed >= total || removed*100 > maxPercent*total)
}

// Pass reports whether the targets of an environment lose more objects in one pass than they may together; 0 is no limit.
func Pass(deleted, maxPerPass int) bool { return maxPerPass > 0 && deleted > maxPerPass }
