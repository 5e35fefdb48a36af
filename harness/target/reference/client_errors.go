package reference

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/harness"
)

// refusals are the codes with which the reference broker refuses a Produce before the append
// (broker/kafka.Partition), so that the batch certainly is in no log. A code that is not here is
// info.
func refusals() []*kerr.Error {
	return []*kerr.Error{
		kerr.NotLeaderForPartition,
		kerr.UnknownTopicOrPartition,
		kerr.UnknownTopicID,
		kerr.NotEnoughReplicas,
		kerr.KafkaStorageError,
		kerr.OutOfOrderSequenceNumber,
		kerr.InvalidProducerEpoch,
		kerr.UnknownProducerID,
		kerr.CorruptMessage,
		kerr.MessageTooLarge,
		kerr.RecordListTooLarge,
		kerr.InvalidRecord,
		kerr.InvalidRequiredAcks,
		kerr.InvalidTimestamp,
		kerr.InvalidTxnState,
		kerr.InvalidTopicException,
		kerr.UnsupportedForMessageFormat,
		kerr.UnsupportedCompressionType,
	}
}

// sequenceErrors say that the broker and the client no longer agree on the producer's numbers.
func sequenceErrors() []*kerr.Error {
	return []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.UnknownProducerID}
}

// produceError classifies the code of a Produce response. The text is the broker's message, if
// there is one.
func produceError(code int16, message *string) error {
	if code == 0 {
		return nil
	}
	err := codeError(code, message)
	is := func(e *kerr.Error) bool { return e.Code == code }
	switch {
	case code == kerr.NotEnoughReplicasAfterAppend.Code:
		return fmt.Errorf("%w: %w", harness.ErrWeak, err)
	case slices.ContainsFunc(refusals(), is):
		return fmt.Errorf("%w: %w", harness.ErrNotApplied, err)
	}
	return err
}

// codeError is a code with the broker's message, if there is one.
func codeError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	var known *kerr.Error
	switch {
	case !errors.As(err, &known):
		err = fmt.Errorf("error code %d", code)
	case message != nil && *message != "":
		return &answerError{code: known, text: *message}
	default:
		return &answerError{code: known, text: known.Description}
	}
	return err
}

// answerError is a Kafka error with the words of the broker that sent it.
type answerError struct {
	code *kerr.Error
	text string
}

// Error implements error.
func (e *answerError) Error() string { return e.code.Message + ": " + e.text }

// Unwrap makes errors.Is work with the errors of package kerr.
func (e *answerError) Unwrap() error { return e.code }

// movedOn says whether an answer hints that what the client knows about leaders is out of date.
func movedOn(err error) bool {
	for _, e := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
		kerr.LeaderNotAvailable, kerr.RequestTimedOut, kerr.KafkaStorageError, kerr.OffsetNotAvailable,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var answered *answerError
	return err != nil && !errors.As(err, &answered) // the broker does not answer at all
}
