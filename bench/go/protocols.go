package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
)

const keys = 1000 // of the line protocol

// rowLine answers "GET key\n" by "value\n".
func rowLine(options) figures {
	values := make(map[string]string, keys)
	for i := range keys {
		values[fmt.Sprintf("key%06d", i)] = fmt.Sprintf("value-%06d", i)
	}
	listener, err := listen()
	return serve(listener, err, func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		var out []byte
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				return
			}
			_, key, _ := bytes.Cut(line[:len(line)-1], []byte(" "))
			out = append(append(out[:0], values[string(key)]...), '\n')
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	})
}

// rowUDP sends every datagram back, by the calls that do not allocate.
func rowUDP(options) figures {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return figures{"skip": err.Error()}
	}
	fmt.Printf("{\"port\": %d}\n", conn.LocalAddr().(*net.UDPAddr).Port)
	buf := make([]byte, 16384)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return figures{"error": err.Error()}
		}
		if _, err := conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
			return figures{"error": err.Error()}
		}
	}
}

// rowCopyFile sends the file to whoever connects: sendfile, by io.Copy.
func rowCopyFile(options) figures {
	listener, err := listen()
	return serve(listener, err, func(conn net.Conn) {
		if file, err := os.Open("copy.dat"); err == nil {
			defer file.Close()
			_, _ = io.Copy(conn, file)
		}
	})
}

// rowCopySocket copies a connection to the next one: splice, by io.Copy.
func rowCopySocket(options) figures {
	listener, err := listen()
	if err != nil {
		return figures{"skip": err.Error()}
	}
	for {
		src, err := listener.Accept()
		if err != nil {
			return figures{"error": err.Error()}
		}
		dst, err := listener.Accept()
		if err != nil {
			return figures{"error": err.Error()}
		}
		_, _ = io.Copy(dst, src)
		dst.Close()
		src.Close()
	}
}
