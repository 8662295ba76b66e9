package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	dialTimeout   = 10 * time.Second
	fallbackDelay = 200 * time.Microsecond // of Happy Eyeballs; Go's default of 300 ms would hardly ever run out
)

// The dial log: which request caused which connection, also when another request comes to use it.
type dialLog struct {
	out     io.Writer
	writing sync.Mutex
}

type dialRecord struct {
	Kind  string    `json:"kind"` // dial or attempt
	Began time.Time `json:"began"`
	Time  time.Time `json:"time"`
	Local string    `json:"local"`
	Peer  string    `json:"peer"`
	Error string    `json:"error"`
	truth
}

func (l *dialLog) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	began := time.Now()
	connection, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	l.finished(ctx.Value(truthKey{}).(truth), began, address, connection, err)
	return connection, err
}

// attemptContext also logs each address that is tried. Only a bound socket has a port before it connects, so it is
// bound here; a connect that fails or loses the race says its port to nobody.
func (l *dialLog) attemptContext(ctx context.Context, network, address string) (net.Conn, error) {
	began := time.Now()
	asked := ctx.Value(truthKey{}).(truth)
	dialer := net.Dialer{Timeout: dialTimeout, FallbackDelay: fallbackDelay, Resolver: dualStack}
	dialer.Control = func(family, peer string, socket syscall.RawConn) error {
		local, err := bindLoopback(family, socket)
		if err == nil {
			l.write(dialRecord{Kind: "attempt", Began: began, Local: local, Peer: peer, truth: asked})
		}
		return err
	}
	connection, err := dialer.DialContext(ctx, network, address)
	l.finished(asked, began, address, connection, err)
	return connection, err
}

func (l *dialLog) finished(asked truth, began time.Time, address string, connection net.Conn, err error) {
	record := dialRecord{Kind: "dial", Began: began, Peer: address, truth: asked}
	if err != nil {
		record.Error = err.Error()
	} else {
		record.Local, record.Peer = connection.LocalAddr().String(), connection.RemoteAddr().String()
	}
	l.write(record)
}

func (l *dialLog) write(record dialRecord) {
	l.writing.Lock()
	defer l.writing.Unlock()
	record.Time = time.Now()
	if err := json.NewEncoder(l.out).Encode(record); err != nil {
		log.Fatal(err)
	}
}

func bindLoopback(family string, socket syscall.RawConn) (local string, err error) {
	var wildcardPort syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == "tcp6" {
		wildcardPort = &syscall.SockaddrInet6{Addr: [16]byte{15: 1}}
	}
	controlErr := socket.Control(func(fd uintptr) {
		if err = syscall.Bind(int(fd), wildcardPort); err == nil {
			local, err = localOf(int(fd))
		}
	})
	if controlErr != nil {
		err = controlErr
	}
	return local, err
}

// refusingAddress is one that nobody listens on and that nobody else can get: a bound socket holds it.
func refusingAddress() (string, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		return "", err
	}
	return localOf(fd)
}

func localOf(fd int) (string, error) {
	name, err := syscall.Getsockname(fd)
	switch address := name.(type) {
	case *syscall.SockaddrInet4:
		return (&net.TCPAddr{IP: address.Addr[:], Port: address.Port}).String(), nil
	case *syscall.SockaddrInet6:
		return (&net.TCPAddr{IP: address.Addr[:], Port: address.Port}).String(), nil
	}
	return "", err
}
