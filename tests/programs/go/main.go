package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"
)

type node struct {
	left, right *node
	value       int
}

func grow(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{grow(depth - 1), grow(depth - 1), depth}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.left.sum() + n.right.sum() + n.value
}

func workers() {
	jobs, results := make(chan int), make(chan int)
	var group sync.WaitGroup
	for range 50 {
		group.Add(1)
		go func() {
			defer group.Done()
			for job := range jobs {
				results <- job * job
			}
		}()
	}
	go func() {
		for i := range 5000 {
			jobs <- i
		}
		close(jobs)
		group.Wait()
		close(results)
	}()
	sum := 0
	for r := range results {
		sum += r
	}
	fmt.Println("workers", sum)
}

func maps() {
	counts := map[string]int{}
	for i := range 200000 {
		counts[fmt.Sprintf("key%d", i%7919)]++
	}
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(a, b int) bool {
		if counts[keys[a]] != counts[keys[b]] {
			return counts[keys[a]] > counts[keys[b]]
		}
		return keys[a] < keys[b]
	})
	fmt.Println("maps", len(keys), keys[:5], keys[len(keys)-1])
}

func files() error {
	if err := os.MkdirAll("out/deep/er", 0o755); err != nil {
		return err
	}
	for i := range 40 {
		name := fmt.Sprintf("out/deep/f%02d.txt", i)
		if err := os.WriteFile(name, []byte(strings.Repeat(name, i*100)), 0o644); err != nil {
			return err
		}
	}
	if err := os.Rename("out/deep/f01.txt", "out/deep/er/moved.txt"); err != nil {
		return err
	}
	if err := os.Remove("out/deep/f02.txt"); err != nil {
		return err
	}
	f, err := os.OpenFile("out/deep/f03.txt", os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "appended %d\n", 42)
	f.Seek(10, io.SeekStart)
	part := make([]byte, 12)
	io.ReadFull(f, part)
	f.Truncate(500)
	f.Close()
	fmt.Printf("part %q\n", part)
	digest := sha256.New()
	err = filepath.WalkDir("out", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintln(digest, path, len(data))
		digest.Write(data)
		return err
	})
	fmt.Printf("files %x\n", digest.Sum(nil))
	_, err2 := os.Open("missing")
	fmt.Println(err2, errors.Is(err2, os.ErrNotExist))
	_, err2 = os.Open("../outside")
	fmt.Println(err2)
	fmt.Println(os.Mkdir("out", 0o755))
	fmt.Println(os.Remove("out"))
	return err
}

func trouble() {
	defer func() { fmt.Println("recovered:", recover()) }()
	var m map[string]int
	m["a"] = 1
}

func nilpointer() {
	defer func() { fmt.Println("recovered:", recover()) }()
	var n *node
	fmt.Println(n.value)
}

func main() {
	fmt.Println(os.Args[1:], runtime.GOOS, runtime.GOARCH, os.Getenv("NAME"))
	workers()
	maps()
	if err := files(); err != nil {
		fmt.Println("files:", err)
	}
	trouble()
	nilpointer()
	total := 0
	for range 20 {
		total += grow(16).sum()
	}
	var kept [][]byte
	for i := range 3000 {
		b := make([]byte, 100000)
		b[i] = byte(i)
		if i%10 == 0 {
			kept = append(kept, b)
		}
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("allocation", total, len(kept), stats.NumGC > 3)
	before := time.Now()
	var group sync.WaitGroup
	order := make(chan int, 5)
	for _, ms := range []int{50, 10, 30} {
		group.Add(1)
		go func() { defer group.Done(); time.Sleep(time.Duration(ms) * 10 * time.Millisecond); order <- ms }()
	}
	group.Wait()
	fmt.Println("sleep", time.Since(before) >= 500*time.Millisecond, <-order, <-order, <-order)
	fmt.Println(math.Sin(1e6), math.Pow(1.1, 300), math.Sqrt(2), math.FMA(1.1, 2.2, 3.3), math.NaN(), 1/math.Inf(-1))
	in := bufio.NewScanner(os.Stdin)
	lines, bytes := 0, 0
	for in.Scan() {
		lines++
		bytes += len(in.Text())
	}
	fmt.Println("stdin", lines, bytes)
	fmt.Fprintln(os.Stderr, "to standard error")
	switch {
	case len(os.Args) < 2:
	case os.Args[1] == "exit":
		os.Exit(7)
	case os.Args[1] == "panic":
		panic(fmt.Errorf("no more: %w", os.ErrClosed))
	case os.Args[1] == "deadlock":
		<-make(chan int)
	case os.Args[1] == "deep":
		var f func(int) int
		f = func(n int) int { return f(n+1) + 1 }
		fmt.Println(f(0))
	}
}
