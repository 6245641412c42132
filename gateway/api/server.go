// Package api is the REST interface and the live stream of the gateway.
//
// It owns routes, credentials of people and programs, and the shapes of
// requests and answers, which openapi.json describes. It must not know how
// things are stored, scheduled or sent: each part that it needs is an
// interface here, and the program's main package hands the parts in.
//
// # Usage
//
// New takes the parts; Handler answers requests from the network and
// LocalHandler those from the gateway's own Unix socket, whose users are the
// household's owner.
//
// # Concurrency
//
// A Server is safe for concurrent use.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// DeviceStore keeps devices; see store.Store for the errors.
type DeviceStore interface {
	Device(ctx context.Context, id gateway.DeviceID) (gateway.Device, error)
	AddDevice(ctx context.Context, d gateway.Device) (gateway.Device, error)
	UpdateDevice(ctx context.Context, d gateway.Device) (gateway.Device, error)
	DeleteDevice(ctx context.Context, id gateway.DeviceID) error
}

// History reads what was measured.
type History interface {
	Page(ctx context.Context, device gateway.DeviceID, from, to gateway.Instant,
		offset, limit int) (items []gateway.Reading, total int, err error)
	// Scan calls fn with each reading of a span in order; fn's error ends it.
	Scan(ctx context.Context, device gateway.DeviceID, from, to gateway.Instant,
		fn func(gateway.Reading) error) error
	// Series sums a span up in steps of one of Steps. It returns the step taken,
	// which differs from the one asked for with auto. A step without any data
	// gives no point.
	Series(ctx context.Context, device gateway.DeviceID, from, to gateway.Instant,
		step string) (taken string, points []Point, err error)
}

// Point is what a device did in one step of a series.
type Point struct {
	From, To gateway.Instant
	Mean     gateway.Power // over the time with data
	Min, Max gateway.Power
	Energy   gateway.Energy
}

// Hub carries what happens to those who watch; see hub.Hub.
type Hub interface {
	Publish(kind gateway.LiveKind, value any)
	Join() (seq uint64, leave func())
	Next(ctx context.Context, seq uint64) (items []gateway.LiveItem, newest uint64, gap bool,
		err error)
}

// MemberStore keeps members and their sessions.
type MemberStore interface {
	AddMember(ctx context.Context, name string, role gateway.Role, hash string) (gateway.Member, error)
	Members(ctx context.Context) ([]gateway.Member, error)
	Member(ctx context.Context, id gateway.MemberID) (gateway.Member, error)
	MemberByName(ctx context.Context, name string) (m gateway.Member, hash string, err error)
	SetPassword(ctx context.Context, id gateway.MemberID, hash string) error
	RemoveMember(ctx context.Context, name string) error
	AddSession(ctx context.Context, hash [32]byte, member gateway.MemberID,
		now, idleUntil, absoluteUntil gateway.Instant) error
	Session(ctx context.Context, hash [32]byte, now gateway.Instant) (gateway.Member, error)
	TouchSession(ctx context.Context, hash [32]byte, idleUntil gateway.Instant) error
	DeleteSession(ctx context.Context, hash [32]byte) error
}

// TokenStore keeps the tokens of programs.
type TokenStore interface {
	AddToken(ctx context.Context, t gateway.Token, hash [32]byte) (gateway.Token, error)
	TokenByHash(ctx context.Context, hash [32]byte) (gateway.Token, error)
	Tokens(ctx context.Context) ([]gateway.Token, error)
	RevokeToken(ctx context.Context, name string) error
}

// CredentialStore keeps the credentials of MQTT.
type CredentialStore interface {
	AddCredential(ctx context.Context, c gateway.Credential, hash [32]byte) (gateway.Credential, error)
	ListCredentials(ctx context.Context) ([]gateway.Credential, error)
	RemoveCredential(ctx context.Context, id gateway.CredentialID) error
}

// EventStore keeps what happened.
type EventStore interface {
	AddEvent(ctx context.Context, e gateway.Event) (gateway.Event, error)
	ListEvents(ctx context.Context, q EventQuery) (items []gateway.Event, total int, err error)
	Command(ctx context.Context, id string) (gateway.Command, error)
}

// EventQuery says which events are asked for, newest first. Zero fields do not
// limit.
type EventQuery struct {
	From, To      gateway.Instant
	Kind          gateway.EventKind
	Device        gateway.DeviceID
	Offset, Limit int
}

// Devices is the registry, as the API needs it.
type Devices interface {
	Device(id gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool)
	Devices() []gateway.Device
}

// Commander puts requests through the dispatch queue.
type Commander interface {
	Submit(r gateway.Request) (gateway.Command, error)
	Command(id string) (gateway.Command, bool)
	Household(kind string, member string, src gateway.Source) error
}

// Planner reads and explains schedules.
type Planner interface {
	Parse(text []byte) (gateway.Schedule, error)
	Format(s gateway.Schedule) ([]byte, error)
	Occurrences(s gateway.Schedule, from, to time.Time) []Occurrence
	Wanted(s gateway.Schedule, at time.Time) (w Wanted, ok bool)
}

// Occurrence is a change of what is wanted of a device.
type Occurrence struct {
	At         time.Time
	Action     gateway.Action
	PowerState gateway.PowerState
	Source     string
}

// Wanted is what is wanted of a device at an instant.
type Wanted struct {
	Action     gateway.Action
	PowerState gateway.PowerState
	Source     string
	Until      time.Time // zero: nothing else for days
}

// Importer takes a file of readings into the store.
type Importer interface {
	Import(ctx context.Context, f ImportFile) (ImportResult, error)
}

// ImportFile is a file of readings.
type ImportFile struct {
	Name    string // for messages, and for devices that are named after it
	Format  string // auto, or one of those that `wattle import --help` names
	Zone    *time.Location
	DryRun  bool // read and check, store nothing
	SkipBad bool // store the good rows of a damaged file
	Body    io.Reader
}

// ImportResult is what became of a file.
type ImportResult struct {
	File     string   `json:"file"`
	Format   string   `json:"format"`
	Rows     int64    `json:"rows"`
	Readings int64    `json:"readings"` // values found
	Added    int64    `json:"added"`
	Repeated int64    `json:"repeated"` // were there already
	Rejected int64    `json:"rejected"` // values that cannot be believed
	Skipped  int64    `json:"skipped"`  // damaged rows
	Bad      []string `json:"bad"`      // the first of the damaged rows and rejected values
	Devices  []string `json:"devices"`  // aliases
}

// Config is the parts that a Server works with. All must be set unless said
// otherwise.
type Config struct {
	Logger      *slog.Logger
	Devices     Devices
	Hub         Hub
	Store       DeviceStore
	History     History
	Members     MemberStore
	Tokens      TokenStore
	Credentials CredentialStore
	Events      EventStore
	Commands    Commander // nil while the gateway does not run
	Planner     Planner
	Importer    Importer
	Database    Database
	// AddReadings stores checked readings; they are durable when it returns nil.
	AddReadings func(ctx context.Context, rs []gateway.Reading) error
	// DeviceTopics says how a device of a dialect speaks, for the person who
	// sets it up; ok is false for an unknown dialect.
	DeviceTopics func(d gateway.Device, member string) (t DeviceTopics, ok bool)
	// Changed is called after devices, members or credentials changed, with the
	// device that is new or changed, or the ids that are gone.
	Changed func(ctx context.Context, c Change)
	// CheckChannel says why a device must not take its commands on a topic, or
	// returns nil. It is asked when the channel of d becomes another one that is
	// not empty, before anything is stored. Without it all topics are good.
	CheckChannel func(d gateway.Device, channel string) error
	// CheckRelay says why a device cannot have a relay, or returns nil. It is
	// asked when the relay becomes another one, before anything is stored; id is
	// 0 for a device that is to be added. Without it all relays are good.
	CheckRelay func(id gateway.DeviceID, r gateway.Relay) error
	// RelayProblem says in a sentence why the relay of a device does not work
	// now, or returns "". Without it none has a problem.
	RelayProblem func(id gateway.DeviceID) string
	// Host reports whether a host name or address (without port) is the
	// gateway's own.
	Host func(host string) bool
	// Ready says why the gateway is not ready, or returns nil.
	Ready func() error
	Page  http.Handler // the dashboard; nil for none
	Zone  *time.Location
	Now   func() time.Time
	// Demo lets everyone in as owner; the caller listens on loopback only.
	Demo    bool
	Name    string // of the household, for people
	Version string
}

// DeviceTopics is how a device speaks MQTT.
type DeviceTopics struct {
	Publish   []string // topics that it may publish to
	Command   string   // where it takes commands
	Broadcast string   // its member's channel; "" if the family does not know it
}

// Change is what an API call changed.
type Change struct {
	Device            *gateway.Device
	RemovedDevice     gateway.DeviceID
	Credentials       bool
	RemovedCredential gateway.CredentialID
}

// Server answers requests. Use New.
type Server struct {
	cfg      Config
	hasher   hasher
	throttle throttle
	viewers  viewers
	series   seriesGate
	texts    texts
}

// New returns a Server.
func New(cfg Config) *Server { return &Server{cfg: cfg, series: newSeriesGate()} }

// now is the wall clock.
func (s *Server) now() gateway.Instant { return gateway.InstantOf(s.cfg.Now()) }

// changed tells the other parts what was changed, even if who asked has left
// meanwhile.
func (s *Server) changed(ctx context.Context, c Change) {
	s.cfg.Changed(context.WithoutCancel(ctx), c)
}

// event records what happened and tells those who watch, even if who asked
// has left meanwhile. Failing to record is logged: what was done stays done.
func (s *Server) event(ctx context.Context, e gateway.Event) {
	ctx = context.WithoutCancel(ctx)
	e.At = s.now()
	stored, err := s.cfg.Events.AddEvent(ctx, e)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "recording an event", "kind", e.Kind, "err", err)
		stored = e
	}
	s.cfg.Hub.Publish(gateway.LiveEvent, stored)
}
