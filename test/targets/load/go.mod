module flowtag.test/load

go 1.19
