// go_echo.go - the same echo in Go: a goroutine for each connection, a buffered reader and a
// buffered writer, which is flushed when no further line is there yet.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
)

func serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	out := bufio.NewWriter(conn)
	defer out.Flush()
	for {
		line, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			err = nil // a long line: pass on what is there
		}
		if _, failed := out.Write(line); failed != nil || err != nil {
			return
		}
		rest, _ := in.Peek(in.Buffered())
		if bytes.IndexByte(rest, '\n') < 0 && out.Flush() != nil {
			return
		}
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp4", "127.0.0.1:"+append(os.Args, "0")[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn)
	}
}
