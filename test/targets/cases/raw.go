package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// A pool of TCP connections as a database driver keeps one: taken, written and read by the caller's goroutine.
type rawPool struct {
	address string
	idle    chan net.Conn
}

func newRawPool(address string) *rawPool {
	return &rawPool{address, make(chan net.Conn, maxIdlePerHost)}
}

// A method value is what net/http gets as the handler.
func (p *rawPool) serve(w http.ResponseWriter, r *http.Request) {
	answer(w, p.query(serving(r)))
}

// A new connection is attributed at its dial, one of the pool when it is written: the line says which.
func (p *rawPool) query(in inbound) error {
	select {
	case connection := <-p.idle:
		line := in.callOnNextLine().line()
		_, err := connection.Write(line)
		return p.putBack(connection, awaitOK(connection, err))
	default:
		connection, dialled, err := p.dial(in)
		if err != nil {
			return err
		}
		_, err = connection.Write(dialled.line())
		return p.putBack(connection, awaitOK(connection, err))
	}
}

func (p *rawPool) once(in inbound) error {
	connection, dialled, err := p.dial(in)
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = connection.Write(dialled.line())
	return awaitOK(connection, err)
}

func (p *rawPool) dial(in inbound) (net.Conn, truth, error) {
	began, call := time.Now(), in.callOnNextLine()
	connection, err := net.DialTimeout("tcp", p.address, dialTimeout)
	dials.finished(call, began, p.address, connection, err)
	return connection, call, err
}

func (p *rawPool) putBack(connection net.Conn, err error) error {
	if err != nil {
		connection.Close()
		return err
	}
	select {
	case p.idle <- connection:
	default:
		connection.Close()
	}
	return nil
}

func (p *rawPool) warm(n int) error {
	held := make([]net.Conn, n)
	for i := range held {
		connection, dialled, err := p.dial(inbound{})
		if err != nil {
			return err
		}
		_, err = connection.Write(dialled.line())
		if err := awaitOK(connection, err); err != nil {
			return err
		}
		held[i] = connection
	}
	for _, connection := range held {
		p.putBack(connection, nil)
	}
	return nil
}

func awaitOK(connection net.Conn, err error) error {
	if err != nil {
		return err
	}
	var reply [3]byte
	connection.SetReadDeadline(time.Now().Add(answerTimeout))
	if _, err := io.ReadFull(connection, reply[:]); err != nil {
		return err
	}
	if string(reply[:]) != "ok\n" {
		return fmt.Errorf("downstream answered %q", reply)
	}
	return nil
}
