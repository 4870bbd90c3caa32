package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
)

// listen tells the harness where the server listens.
func listen() (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		fmt.Printf("{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	}
	return listener, err
}

// serve runs until it is killed: a goroutine a connection.
func serve(listener net.Listener, err error, handle func(net.Conn)) figures {
	if err != nil {
		return figures{"skip": err.Error()}
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return figures{"skip": err.Error()}
		}
		go func() {
			defer conn.Close()
			handle(conn)
		}()
	}
}

// echo reads 16 KiB at once.
func echo(conn net.Conn) {
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
}

var counted [64]int // of each hog, so that its loop is not left out

// hog computes for ever: Go preempts it.
func hog(i int) {
	for {
		counted[i]++
	}
}

func rowEcho(o options) figures {
	for i := range o.hogs {
		go hog(i)
	}
	listener, err := listen()
	return serve(listener, err, echo)
}

func rowTLS(options) figures {
	certificate, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		return figures{"skip": err.Error()}
	}
	listener, err := listen()
	if err == nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	return serve(listener, err, echo)
}

// rowAccept serves one byte a connection.
func rowAccept(options) figures {
	listener, err := listen()
	return serve(listener, err, func(conn net.Conn) {
		var byte [1]byte
		if _, err := io.ReadFull(conn, byte[:]); err == nil {
			_, _ = conn.Write(byte[:])
		}
	})
}
