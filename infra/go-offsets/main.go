// Prints where fields are in the structs of this very program, from its own debug data: what a Go version puts where.
//
//	go-offsets runtime.g.goid net/http.Request.URL ...
//
// One JSON object: the Go version and, by name, the byte offsets of the fields that exist.
package main

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"runtime"
	"strings"
)

func main() {
	log.SetFlags(0)
	// Never true; the types of a server and a client are in the debug data only when they are used.
	if len(os.Args) == 0 {
		http.Get("")
		http.ListenAndServe("", nil)
	}
	path, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	file, err := elf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	data, err := file.DWARF()
	if err != nil {
		log.Fatal(err)
	}
	offsets, err := find(data, os.Args[1:])
	if err != nil {
		log.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"goVersion": runtime.Version(), "offsets": offsets})
}

func find(data *dwarf.Data, fields []string) (map[string]int64, error) {
	wanted := map[string][]string{} // fields by struct
	for _, field := range fields {
		dot := strings.LastIndexByte(field, '.')
		wanted[field[:dot]] = append(wanted[field[:dot]], field[dot+1:])
	}
	offsets := map[string]int64{}
	reader := data.Reader()
	for {
		entry, err := reader.Next()
		if err != nil || entry == nil {
			return offsets, err
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		if entry.Tag != dwarf.TagStructType || wanted[name] == nil {
			continue
		}
		typ, err := data.Type(entry.Offset)
		if err != nil {
			return nil, err
		}
		for _, field := range typ.(*dwarf.StructType).Field {
			for _, one := range wanted[name] {
				if field.Name == one {
					offsets[name+"."+one] = field.ByteOffset
				}
			}
		}
	}
}
