// Package kafka serves the Kafka wire protocol over a Backend: framing, versions, validation, long polling and pipelining.
// It decides nothing about replication, storage or leadership, has no authentication, transactions or consumer groups, and
// keeps no fetch sessions (every answer says session 0, as a Kafka broker with a full session cache does).
//
// One goroutine per connection reads requests and starts them in the order of arrival; a second one completes them in that order and
// writes the responses. A Produce request is started by its appends, so that many of them wait for their acknowledgement
// at once; every other request is carried out when its turn to be answered has come, and nothing behind it is started before. What
// a client sees is therefore what a broker that carries out one request after the other would have answered.
//
// Memory per connection is bounded by one request, one response and Config.MaxInFlight waiting Produce requests (their batches
// belong to the Backend). A Produce for so many partitions that this would be no bound is answered before the next one is started.
//
// Sources: https://kafka.apache.org/protocol and, where that is silent, the behaviour of Apache Kafka 3.x as the comments say.
package kafka
