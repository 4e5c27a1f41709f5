// net/http of Go.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
)

func get(url string) ([]byte, error) {
	// docs
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode >= 400 {
		return nil, fmt.Errorf("%s: %s", response.Status, body)
	}
	// end
	return body, err
}

func words(pattern string, text []byte) string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	return strings.TrimSuffix(strings.Join(found, " "), " end")
}

func request(base string) (string, error) {
	body, err := get(base + "/item")
	return words(`"answer": "(\w+)"`, body), err
}

func stream(base string) (string, error) {
	body, err := get(base + "/events")
	return words(`data: (\w+)`, body), err
}

func upload(base string) (string, error) {
	response, err := http.Post(base+"/upload", "application/octet-stream", bytes.NewReader(make([]byte, 100_000)))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return words(`(\d+)`, body), err
}

// run prints the result of a case as one line, as cases.py does.
func run(name string, action func(string) (string, error)) {
	how := "returned"
	text, err := action(os.Getenv("BASE") + "/" + name)
	if err != nil {
		how, text = "raised", err.Error()
	}
	fmt.Println(strings.Join([]string{"case", name, how, strings.Join(strings.Fields(text), " ")}, "\t"))
}

func main() {
	run("request", request)
	run("stream", stream)
	run("upload", upload)
	for _, name := range []string{"forbidden", "large", "limited", "unavailable"} {
		run(name, request)
	}
	run("cut", stream)
}
