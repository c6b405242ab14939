package cluster

// FanOut is the number of requests that one target has under way at once.
const FanOut = 8
