module flowtag.test/bench

go 1.19
