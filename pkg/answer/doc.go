// package answer reads what an API server answers: whether an error passes by itself, whether it is about one object or
// about the whole server, whether a refusal is one of a field that cannot change, and what to do about it. It holds pure
// functions and sends nothing.
package answer
