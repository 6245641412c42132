// Package energy turns readings into energy over spans of time.
//
// It owns the rule by which power and counters become energy, the borders of
// hours, days and months in a zone, which readings a question needs, and which
// sums a reading can change. It must not know where readings and sums are kept;
// it asks a Source.
//
// # The rule
//
// A reading's power holds until the next reading of power. A pause longer than
// three usual intervals, and at least MinGap, is a gap: the reading before it
// holds for one usual interval, and so does the last one of all. Negative
// power counts negative.
//
// The usual interval of a UTC day is the median of the intervals between its
// readings. A day with fewer than four intervals takes that of the nearest
// earlier day which has one, else of the nearest later day. If no day has one,
// it is the median of all intervals, a day at most.
//
// Where a counter was read at both ends of a span, its difference is the energy
// of the span, spread evenly over it, whatever power was told inside. That is
// so over a gap, too; the time is then counted as estimated. A counter that
// fell, or that rose by more than 100 kW could make it, tells nothing of that
// span: power stands there. So it does if the counter was silent for more than a
// day after power was told again. Power and counter may come in readings of
// their own.
//
// So energy does not depend on how a span is cut or in which order readings
// came. Spans begin with their first instant and end before their last.
//
// # Sums
//
// Sums of spans that meet add up, so a Source may keep some: for all of the
// time that is Settled, and until a reading comes whose Reach they meet. Series
// answers from the longest that fit, the same as from readings.
//
// # Units
//
// Sums are exact, in milliwatt-milliseconds; each bucket is rounded to a
// milliwatt-hour once. Sums that are kept are whole milliwatt-hours, each
// stretch of them that was made in one go right to one.
//
// # Concurrency
//
// Functions are pure. An Integrator is not safe for concurrent use.
package energy
