package gateway

// LiveItem is one thing that happened, for those who watch the household
// live.
type LiveItem struct {
	Seq   uint64 // rises by one from item to item
	Kind  LiveKind
	Value any // what belongs to the kind
}

// LiveKind says what a LiveItem is.
type LiveKind string

// Kinds of items, as the live stream names them.
const (
	LiveReading LiveKind = "reading" // Reading
	LiveState   LiveKind = "state"   // DeviceState
	LiveCommand LiveKind = "command" // Command
	LiveEvent   LiveKind = "event"   // Event
)
