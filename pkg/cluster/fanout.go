package cluster

// FanOut is how many requests one target has under way at once.
const FanOut = 8
