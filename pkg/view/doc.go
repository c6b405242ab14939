// Package view holds what a daemon shows: a view is one value, made of the records and of a few facts about the process and
// the repository. The commands print some of its types as well. The room is pure: it asks no cluster, registry or clock.
package view
