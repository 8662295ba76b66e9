module flowtag.test/cases

go 1.19

require flowtag.test/certificate v0.0.0

replace flowtag.test/certificate => ../certificate
