module flowtag.test/plain

go 1.19
