package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// codeOf translates an error of the Backend into the protocol's code and message; 0 and nil for none. Errors that no Kafka client can
// understand are UNKNOWN_SERVER_ERROR and logged, because only the log can tell why.
func (s *Server) codeOf(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	text := err.Error()
	var ke *kerr.Error
	switch {
	case errors.As(err, &ke):
		return ke.Code, &text
	case errors.Is(err, context.DeadlineExceeded):
		return kerr.RequestTimedOut.Code, &text
	}
	if s.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		s.log.Error("request failed for a reason that the protocol has no code for", "err", err)
	}
	return kerr.UnknownServerError.Code, &text
}

// code is codeOf for the responses that have no message.
func (s *Server) code(err error) int16 {
	code, _ := s.codeOf(err)
	return code
}

func refuse(e *kerr.Error, format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), e)
}

// errProtocol is wrapped by whatever a client sent that cannot be answered: the connection is closed.
var errProtocol = errors.New("protocol violation")
