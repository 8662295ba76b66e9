module flowtag.test/go-offsets

go 1.19
