package main

import (
	"fmt"
	"net"
)

// rowEcho serves until it is killed: a goroutine a connection, 16 KiB read at once.
func rowEcho(options) figures {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return figures{"skip": err.Error()}
	}
	fmt.Printf("{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return figures{"skip": err.Error()}
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, 16384)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if _, err := conn.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}
