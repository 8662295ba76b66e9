module flowtag.test/downstream

go 1.19
