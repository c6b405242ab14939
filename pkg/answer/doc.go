// package answer reads the answers of an API server: whether an error passes by itself, whether it is about one object
// or about the whole server, whether a refusal concerns a field that cannot change, and what to do about it. It holds
// pure functions and sends nothing.
package answer
