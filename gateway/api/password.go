package api

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/wattle-home/wattle/gateway"
)

// Cost of a password's hash, as OWASP's password storage cheat sheet names it
// for argon2id.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonKey     = 32 // bytes
)

// passwordMin is how many characters a password has at least.
const passwordMin = 8

// hasher makes one hash at a time, so that many logins at once cannot take all
// memory. The zero value is ready.
type hasher struct{ mu sync.Mutex }

// Hash returns the argon2id hash of a password in the PHC string format. A
// password that is too short or too long is an *gateway.Error.
func (h *hasher) Hash(password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < passwordMin || len(password) > 1024 {
		return "", invalid("password", fmt.Sprintf("has %d characters; want %d to 1024", n, passwordMin))
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		argonMemory, argonTime, argonThreads, b64(salt),
		b64(h.key(password, salt, argonTime, argonMemory, argonThreads, argonKey))), nil
}

// Matches reports whether password is the one of the hash. An empty or broken
// hash costs the same and matches nothing, so that nobody learns from the time
// taken which names exist.
func (h *hasher) Matches(hash, password string) bool {
	if len(password) > 1024 {
		password = password[:1024]
	}
	var version, memory, time, threads int
	parts := strings.Split(hash, "$")
	if len(parts) == 6 && parts[1] == "argon2id" {
		_, errVersion := fmt.Sscanf(parts[2], "v=%d", &version)
		_, errCost := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads)
		salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
		want, errKey := base64.RawStdEncoding.DecodeString(parts[5])
		ok := errVersion == nil && errCost == nil && errSalt == nil && errKey == nil &&
			version == argon2.Version && memory > 0 && memory <= 1<<20 && time > 0 && time <= 100 &&
			threads > 0 && threads <= 255 && len(want) == argonKey
		if ok {
			got := h.key(password, salt, uint32(time), uint32(memory), uint8(threads), argonKey)
			return subtle.ConstantTimeCompare(got, want) == 1
		}
	}
	h.key(password, make([]byte, 16), argonTime, argonMemory, argonThreads, argonKey)
	return false
}

func (h *hasher) key(
	password string, salt []byte, time, memory uint32, threads uint8, n uint32,
) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return argon2.IDKey([]byte(password), salt, time, memory, threads, n)
}

// b64 is base64 as the PHC string format has it.
func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// newSecret returns a random secret of bits bits as text, and its SHA-256,
// which is all that is kept. The secret is random enough that a fast hash is
// right.
func newSecret(bits int) (secret string, hash [32]byte) {
	b := make([]byte, bits/8)
	_, _ = rand.Read(b) // never fails
	secret = hex.EncodeToString(b)
	return secret, sha256.Sum256([]byte(secret))
}

// NewDeviceSecret returns a secret with which a device connects, and the hash
// under which it is kept.
func NewDeviceSecret() (secret string, hash [32]byte) { return newSecret(deviceBits) }

// Sizes of our secrets in bits.
const (
	sessionBits = 256
	tokenBits   = 256
	deviceBits  = 160
)

// checkName tells why a name of a member, a token or a credential is not
// good, or returns nil.
func checkName(field, name string) error {
	switch {
	case name == "":
		return invalid(field, "is missing")
	case gateway.CheckText(name, 64, false) != "":
		return invalid(field, gateway.CheckText(name, 64, false))
	case strings.ContainsAny(name, "/+#"):
		return invalid(field, "holds /, + or #, which have a meaning in topics")
	}
	return nil
}

// checkRole tells why a role is not one, or returns nil.
func checkRole(role gateway.Role) error {
	if !role.Valid() {
		return invalid("role", fmt.Sprintf("%q is not owner, member or viewer", clip(string(role))))
	}
	return nil
}
