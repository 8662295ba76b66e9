package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"
)

// dualStack resolves every name to the loopback addresses of both families, through no socket: not every host has
// a `localhost` of both, and without two addresses there are no Happy Eyeballs.
var dualStack = &net.Resolver{
	PreferGo: true,
	Dial: func(context.Context, string, string) (net.Conn, error) {
		resolver, server := net.Pipe()
		go answerQuery(server)
		return resolver, nil
	},
}

// One DNS message (RFC 1035) after its length, as over TCP: A and AAAA come as two queries.
func answerQuery(server net.Conn) {
	defer server.Close()
	server.SetDeadline(time.Now().Add(dialTimeout))
	var length uint16
	if binary.Read(server, binary.BigEndian, &length) != nil {
		return
	}
	query := make([]byte, length)
	if _, err := io.ReadFull(server, query); err != nil || len(query) < 17 {
		return
	}
	endOfName := 12 + bytes.IndexByte(query[12:], 0) + 1
	question := query[12 : endOfName+4]
	address := net.IPv4(127, 0, 0, 1).To4()
	if binary.BigEndian.Uint16(query[endOfName:]) == 28 { // AAAA
		address = net.IPv6loopback
	}
	answer := append([]byte{}, query[:2]...)                    // its id
	answer = append(answer, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0) // response, recursion; 1 question, 1 answer
	answer = append(answer, question...)
	answer = append(answer, 0xc0, 12)                           // the question's name
	answer = append(answer, question[len(question)-4:]...)      // type and class
	answer = append(answer, 0, 0, 0, 60, 0, byte(len(address))) // TTL, length
	answer = append(answer, address...)
	binary.Write(server, binary.BigEndian, uint16(len(answer)))
	server.Write(answer)
}
