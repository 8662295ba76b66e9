module flowtag.test/demo

go 1.19
