// A receiver of Tidegate's webhooks: standard library only.
//
//	TIDEGATE_WEBHOOK_SECRET=whsec_… PORT=3000 go run receiver.go
//
// It prints one line for each message that it takes.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Older messages are refused, so that one that was overheard cannot be played again later.
const tolerance = 300 * time.Second

// A conference with many members is some hundred kilobytes.
const bodyBytesMax = 4 << 20

// isGenuine tells whether body, as it came, was signed with secret not long ago.
func isGenuine(header string, body []byte, secret string, now time.Time) bool {
	stamp := ""
	var given []string
	for _, part := range strings.Split(header, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "t":
			stamp = value
		case "v1":
			given = append(given, value)
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	wanted := mac.Sum(nil)
	// While a secret is changed there are two signatures; one that fits is enough.
	for _, text := range given {
		if signature, err := hex.DecodeString(text); err == nil && hmac.Equal(signature, wanted) {
			return true
		}
	}
	return false
}

type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// Messages come at least once: the same id is the same event. Keep this in your database, beside what you do.
var seen sync.Map

func take(e event) {
	if _, again := seen.LoadOrStore(e.ID, true); !again {
		fmt.Printf("%s %s\n", e.Type, e.ID)
	}
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	secret := os.Getenv("TIDEGATE_WEBHOOK_SECRET")
	if secret == "" {
		log.Fatal("set TIDEGATE_WEBHOOK_SECRET to the secret of the target")
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
		if err != nil || r.Method != http.MethodPost ||
			!isGenuine(r.Header.Get("Tidegate-Signature"), body, secret, time.Now()) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var e event
		if err := json.Unmarshal(body, &e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		take(e)
		// Answer once the event is safe with you; until then it is sent again.
		w.WriteHeader(http.StatusNoContent)
	}
	address := net.JoinHostPort(setting("HOST", "127.0.0.1"), setting("PORT", "3000"))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}
