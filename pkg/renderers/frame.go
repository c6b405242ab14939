package renderers

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// largestFrame bounds a message in both directions. A set and the content of a file are smaller by their own limits.
const largestFrame = 256 << 20

// wire carries messages between a pool and a worker: each is JSON behind its length. One goroutine reads and one writes.
type wire struct {
	in  *bufio.Reader
	out io.Writer
}

func newWire(in io.Reader, out io.Writer) *wire {
	return &wire{bufio.NewReaderSize(in, 64<<10), out}
}

func (w *wire) send(message any) error {
	var frame bytes.Buffer
	frame.Write(make([]byte, 4))
	encoder := json.NewEncoder(&frame)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return err
	}
	data := frame.Bytes()
	if len(data)-4 > largestFrame {
		return fmt.Errorf("a message of %d bytes is too large", len(data))
	}
	binary.BigEndian.PutUint32(data, uint32(len(data)-4))
	_, err := w.out.Write(data)
	return err
}

// receive reads a message of some length at most. Its memory grows with the bytes that arrive, and not with the announced length.
func (w *wire) receive(message any, most int64) error {
	var head [4]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > most {
		return fmt.Errorf("a message of %d bytes, and %d are allowed", size, most)
	}
	var body bytes.Buffer
	if n, err := io.CopyN(&body, w.in, size); err != nil {
		return fmt.Errorf("%d bytes of a message of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	return json.Unmarshal(body.Bytes(), message)
}
