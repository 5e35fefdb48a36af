package judge

import "slices"

// Exit codes, and with them verdicts. They are ranked by WorseExit, never by comparing numbers.
const (
	ExitValid     = 0 // no anomaly
	ExitError     = 1 // the harness failed or was used wrongly: nothing is said about the system
	ExitUnknown   = 2 // idle run, fault without effect, checker out of time, run interrupted
	ExitInvalid   = 3 // an anomaly that the contract excludes
	ExitPermitted = 4 // anomalies, all of them permitted
)

// VerdictName returns the name of an exit code's verdict. Any number that is no exit code of a run
// is an error.
func VerdictName(exit int) string {
	switch exit {
	case ExitValid:
		return "valid"
	case ExitUnknown:
		return "unknown"
	case ExitInvalid:
		return "invalid"
	case ExitPermitted:
		return "permitted"
	}
	return "error"
}

// WorseExit returns the one of two exit codes that decides: 1 over 3 over 2 over 4 over 0. Any
// other number counts as 1.
func WorseExit(a, b int) int {
	if exitRank(a) >= exitRank(b) {
		return a
	}
	return b
}

func exitRank(exit int) int {
	if i := slices.Index([]int{ExitValid, ExitPermitted, ExitUnknown, ExitInvalid}, exit); i >= 0 {
		return i
	}
	return 4
}
