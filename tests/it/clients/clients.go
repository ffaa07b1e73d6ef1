// Go's HTTP client against the address in the first argument: a pixel, a rejected one, and a kept connection.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

const pixel = `{"x":10,"y":20,"channel":"R","value":255}`

type exchange struct{ body, wanted string }

var (
	accepted = exchange{pixel, `200 OK {"status":"ok","received":` + pixel + `}`}
	rejected = exchange{strings.Replace(pixel, "255", "256", 1),
		`422 Unprocessable Entity {"error":"value must be between 0 and 255"}`}
	sequence = []exchange{accepted, rejected, accepted}
)

// Hides the length of a body, which then goes out in chunks.
type unknown struct{ io.Reader }

func main() {
	url := "http://" + os.Args[1] + "/pixel"
	for name, request := range map[string]func(string) *http.Request{
		"plain":   func(body string) *http.Request { return post(url, strings.NewReader(body)) },
		"chunked": func(body string) *http.Request { return post(url, unknown{strings.NewReader(body)}) },
		"expect": func(body string) *http.Request {
			request := post(url, strings.NewReader(body))
			request.Header.Set("Expect", "100-continue")
			return request
		},
	} {
		// Longer than the client waits: without a response of 100 the request fails.
		transport := &http.Transport{ExpectContinueTimeout: 20 * time.Second, MaxConnsPerHost: 1}
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		for _, exchange := range sequence {
			response, err := client.Do(request(exchange.body))
			if err != nil {
				log.Fatalf("%s: %v", name, err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				log.Fatalf("%s: %v", name, err)
			}
			response.Body.Close()
			if found := response.Status + " " + string(body); found != exchange.wanted {
				log.Fatalf("%s: %s instead of %s", name, found, exchange.wanted)
			}
		}
		transport.CloseIdleConnections()
	}
}

func post(url string, body io.Reader) *http.Request {
	request, err := http.NewRequest("POST", url, body)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	return request
}
