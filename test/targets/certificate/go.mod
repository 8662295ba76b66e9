module flowtag.test/certificate

go 1.19
