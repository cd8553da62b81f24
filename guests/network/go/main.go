// A server with Go's net/http, at the listener that it was given.
//
//	GET /        greets
//	POST /sum    the number of bytes that were sent, and their sum
//	GET /slow    answers in pieces
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// givenListener is the first listener among the descriptors that a program begins with.
func givenListener() (net.Listener, error) {
	for descriptor := 3; ; descriptor++ {
		var status syscall.Stat_t
		err := syscall.Fstat(descriptor, &status)
		if errors.Is(err, syscall.EBADF) {
			return nil, errors.New("no listener was given: run with --tcplisten ADDRESS:PORT")
		}
		if err == nil && status.Filetype == syscall.FILETYPE_DIRECTORY {
			continue
		}
		// A server must not wait in a call: there is one thread for all of it.
		if err := syscall.SetNonblock(descriptor, true); err != nil {
			return nil, err
		}
		file := os.NewFile(uintptr(descriptor), "listener")
		defer file.Close()
		return net.FileListener(file)
	}
}

func sum(answer http.ResponseWriter, question *http.Request) {
	body, err := io.ReadAll(question.Body)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	total := 0
	for _, value := range body {
		total += int(value)
	}
	fmt.Fprintln(answer, len(body), total)
}

func slow(answer http.ResponseWriter, _ *http.Request) {
	for number := range 3 {
		fmt.Fprintln(answer, number)
		answer.(http.Flusher).Flush()
		time.Sleep(time.Millisecond)
	}
}

func main() {
	listener, err := givenListener()
	if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(1)
	}
	http.HandleFunc("GET /{$}", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "Hello from Go.")
	})
	http.HandleFunc("POST /sum", sum)
	http.HandleFunc("GET /slow", slow)
	fmt.Fprintln(os.Stderr, "go: ready")
	fmt.Fprintln(os.Stderr, "go:", http.Serve(listener, nil))
	os.Exit(1)
}
