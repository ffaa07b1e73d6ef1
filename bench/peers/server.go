// net/http as Go brings it.
package main

import (
	"encoding/json"
	"log"
	"net/http"
)

type pixel struct {
	X       *int64  `json:"x"`
	Y       *int64  `json:"y"`
	Channel *string `json:"channel"`
	Value   *uint8  `json:"value"`
}

type accepted struct {
	Status   string `json:"status"`
	Received pixel  `json:"received"`
}

func (p *pixel) isRight() bool {
	return p.X != nil && p.Y != nil && p.Value != nil && p.Channel != nil &&
		(*p.Channel == "R" || *p.Channel == "G" || *p.Channel == "B")
}

func main() {
	http.HandleFunc("/pixel", func(answer http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodPost {
			answer.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		var body pixel
		if json.NewDecoder(request.Body).Decode(&body) != nil || !body.isRight() {
			answer.WriteHeader(http.StatusUnprocessableEntity)
			answer.Write([]byte(`{"error":"not a pixel"}`))
			return
		}
		text, err := json.Marshal(accepted{"ok", body})
		if err != nil {
			log.Fatal(err)
		}
		answer.Write(text)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8000", nil))
}
