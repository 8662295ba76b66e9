module flowtag.test/workers

go 1.19
