package report

// style writes escape sequences for a terminal, or nothing when it is false.
type style bool

func (s style) sgr(code, text string) string {
	if !s {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string   { return s.sgr("1", text) }
func (s style) dim(text string) string    { return s.sgr("2", text) }
func (s style) red(text string) string    { return s.sgr("31", text) }
func (s style) yellow(text string) string { return s.sgr("33", text) }

// verdict colours the word by the verdict: green for valid, yellow for what is permitted or undecided, red for the rest.
func (s style) verdict(verdict, word string) string {
	switch verdict {
	case "valid":
		return s.sgr("1;32", word)
	case "permitted", "unknown":
		return s.sgr("1;33", word)
	}
	return s.sgr("1;31", word)
}
