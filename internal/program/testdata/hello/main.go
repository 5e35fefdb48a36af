// Command hello is what the tests of this package build.
package main

import "fmt"

func main() { fmt.Println("hello") }
